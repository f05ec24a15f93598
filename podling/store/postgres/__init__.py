"""The store on PostgreSQL, and the embedded server for one machine."""
