package path

// buffer asks for a receive queue of n bytes; the kernel allows net.core.rmem_max.
func (s *socket) buffer(n int) { _ = s.conn.SetReadBuffer(n) }
