package main

import "syscall"

// detached is how a node is started: as any process.
func detached() *syscall.SysProcAttr { return nil }
