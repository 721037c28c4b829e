"""The modules that make calls for the notebooks: pairs, rules, execution here and on AWS."""
