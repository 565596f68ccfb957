//go:build !linux

package path

func (s *socket) buffer(int) {}
