"""What everything else stands on: settings, errors, and running steps with or without Prefect."""
