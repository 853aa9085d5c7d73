package nasty

import (
	"fmt"
	"strings"

	"github.com/fieldloom/fieldloom/core/client"
)

// A Verdict is what a driver has to become.
type Verdict func(p *Plant, before, now client.Driver) error

// Replaced is a process that was killed, or died, and another that is healthy.
func Replaced(cause string) Verdict {
	return func(_ *Plant, before, now client.Driver) error { return Restarted(now, before.PID, cause) }
}

// GoesOn is the same process, with a line in its log.
func GoesOn(line string) Verdict {
	return func(p *Plant, before, now client.Driver) error {
		if err := Is(now, "active"); err != nil {
			return err
		}
		if now.PID != before.PID {
			return fmt.Errorf("process %d was replaced: %s", before.PID, now.Cause)
		}
		if log := p.Lines(); line != "" && !strings.Contains(log, line) {
			return fmt.Errorf("its log has no %q:\n%.500s", line, log)
		}
		return nil
	}
}

// Sees is a process that goes on, and whose link is in a state with a cause.
func Sees(state, cause string) Verdict {
	return func(p *Plant, before, now client.Driver) error {
		if err := GoesOn("")(p, before, now); err != nil {
			return err
		}
		l, err := badLink(p)
		if err != nil {
			return err
		}
		text := ""
		for _, c := range []*client.Fault{l.Cause, l.Devices[0].Cause} {
			if c != nil {
				text += c.Text + "\n"
			}
		}
		if l.Devices[0].State != state || !strings.Contains(text, cause) {
			return fmt.Errorf("link is %s, device is %s: %.300s", l.State, l.Devices[0].State, text)
		}
		return nil
	}
}

func badLink(p *Plant) (client.Link, error) {
	s, err := p.Status()
	if err != nil {
		return client.Link{}, err
	}
	for _, l := range s.Links {
		if l.Name == "bad" {
			return l, nil
		}
	}
	return client.Link{}, fmt.Errorf("there is no link bad")
}

// Stores is a process that goes on, and whose samples are Bad with a fault that is not
// as long as the driver made it.
func Stores(fault string) Verdict {
	return func(p *Plant, before, now client.Driver) error {
		if err := GoesOn("")(p, before, now); err != nil {
			return err
		}
		all := p.Stored("bad/d/value")
		if len(all) == 0 {
			return fmt.Errorf("no sample of it is stored")
		}
		if s := all[len(all)-1]; s.Quality != "bad" || !strings.Contains(s.Fault, fault) || len(s.Fault) > 2000 {
			return fmt.Errorf("its last sample is %s: %.300q of %d bytes", s.Quality, s.Fault, len(s.Fault))
		}
		return nil
	}
}

// Refuses is a process that goes on, and of which nothing can be asked.
func Refuses(fault string) Verdict {
	return func(p *Plant, before, now client.Driver) error {
		if err := GoesOn("")(p, before, now); err != nil {
			return err
		}
		out, err := p.CLI("read", "bad/d/value")
		if err == nil || !strings.Contains(string(out)+err.Error(), fault) {
			return fmt.Errorf("a read answers %.200s %w, want %q", out, err, fault)
		}
		return nil
	}
}

// Lines is the log of the driver, as an operator asks for it.
func (p *Plant) Lines() string {
	out, err := p.CLI("driver", "logs", p.Driver)
	if err != nil {
		return err.Error()
	}
	return string(out)
}
