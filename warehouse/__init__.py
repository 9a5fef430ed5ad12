"""Where everything lies: Delta tables, runs, the model registry, policy, publishing and SQL."""
