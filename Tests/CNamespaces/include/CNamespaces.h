// Network namespaces and TUN devices, for tests that need a network of their own.
#pragma once

/// Gives the calling thread a network namespace of its own. Returns 0 or an errno.
int namespaces_enter_new(void);

/// Makes a TUN device of that name in the calling thread's namespace, and returns a non-blocking descriptor for its packets, or the negative of an errno.
int namespaces_open_tun(const char *_Nonnull name);

/// Runs a command of the shell in the calling thread's namespace; returns its exit status.
int namespaces_run(const char *_Nonnull command);
