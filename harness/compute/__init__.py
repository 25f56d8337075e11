"""The wing of jobs: training, serving, evaluating. `grade` and `prepare` use it by hand, too."""
