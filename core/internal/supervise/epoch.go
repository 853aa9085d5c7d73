package supervise

import "fmt"

// checkEpoch returns why the epoch of a process that was just launched cannot be: frames of
// an epoch that is known would be taken for those that are stored already, acknowledged,
// and thrown away.
func (p *pool) checkEpoch(l *life) error {
	if l.epoch == 0 {
		return fmt.Errorf("its process epoch is 0: a driver draws a random number at every start")
	}
	for _, m := range p.roster.members {
		if m.life != nil && m.life != l && m.life.epoch == l.epoch {
			return fmt.Errorf("its process epoch %d is that of process %d: a driver draws a random number at every start", l.epoch, m.life.proc.PID())
		}
	}
	if p.s.o.Spool != nil && p.s.o.Spool.MarkOf(p.kind, l.epoch) > 0 {
		return fmt.Errorf("its process epoch %d is that of a process before it, of which frames are stored: a driver draws a random number at every start", l.epoch)
	}
	return nil
}
