"""Who may do what and how much of it, and what is kept of people: conversations, budgets, audit."""
