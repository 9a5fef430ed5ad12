"""What people look at: pages for eyes, JSON for machines."""
