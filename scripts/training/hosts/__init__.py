"""Several hosts of a job as one group: one interface, and what XGBoost and PyTorch each need."""
