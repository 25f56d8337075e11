"""From a text of YAML to data with places, and from what is wrong with it to our words."""
