"""What the benchmarks of methods share: tasks, methods, runs, rows, tuning, tables.

* `tasks`: parameters, a pure loss on a batch, a pure held-out score, and the data of both.
* `methods`: the optimisers by name, at equal forward passes a step.
* `runs`: follows a method on a task and gives its curve against forward passes.
* `tuning`: the one procedure that chooses every learning rate.
* `rows`: results as lines of JSON; what is finished is not run again.
* `tables`, `pictures`: Markdown and PNG from rows, nothing else.
"""
