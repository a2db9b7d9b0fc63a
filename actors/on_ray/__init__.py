"""The only folder that knows Ray. Everything else is plain classes: actors are made of them here, and links to them."""
