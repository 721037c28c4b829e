"""Where the former toolkit had what frameworks' containers use."""
