"""Outside contracts, one file each: routes, bodies and statuses exactly as the people who call them wrote them down."""
