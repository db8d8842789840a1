"""Rego: policies of the Agent Action Firewall, evaluated in a process of their own.

`child`     the program that holds the engine. It can open nothing, and grow to a limit only.
`engine`    our end of it: starts it when it is first needed, ends it when it is slow, starts it again.
`meaning`   what the outputs of a policy say: deny, ask a person, allow, or nothing.
`policies`  what all stored policies say of an action.
`routes`    `/admin/policies`.
"""
