"""Are the rows and the template what training needs."""
