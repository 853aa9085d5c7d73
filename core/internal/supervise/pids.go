package supervise

// Owns tells whether a process is one of the drivers'.
func (s *Supervisor) Owns(pid int) bool {
	s.mu.Lock()
	pools := make([]*pool, 0, len(s.pools))
	for _, p := range s.pools {
		pools = append(pools, p)
	}
	s.mu.Unlock()
	for _, p := range pools {
		if p.owns(pid) {
			return true
		}
	}
	return false
}

func (p *pool) owns(pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		if m.life != nil && m.life.proc.PID() == pid {
			return true
		}
	}
	return false
}
