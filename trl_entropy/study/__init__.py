"""Studies: tasks x methods x settings x seeds as one queue, and what their results say."""
