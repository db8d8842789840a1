"""What several test files share: real pieces put together, never stand-ins for ours."""
