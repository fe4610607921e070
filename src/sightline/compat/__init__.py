"""Drop-ins for code bases that exist: their own names, over sightline."""
