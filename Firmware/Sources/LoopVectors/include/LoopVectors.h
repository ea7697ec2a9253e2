// The module has nothing to call.
