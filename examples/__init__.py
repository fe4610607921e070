"""Small programs that show sightline in use. Each runs by itself, and the tests run all of them."""
