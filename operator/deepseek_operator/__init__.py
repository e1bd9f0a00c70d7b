"""The control plane of deepseek-operator: the DeepseekJob resource, what to do about it, and who does it.

api/        the resource: what a user may write, what they see
reconcile/  observe and the pure plan
executors/  carry a plan out, as processes or as pods
cli/        the command `dsj`
"""
