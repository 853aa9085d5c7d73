package depot

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// inventory is what the scans found in the directory, and the ledger that says which of it
// may be run. Its methods may be called concurrently; those that take a verifier only by the
// scan.
type inventory struct {
	log *slog.Logger

	mu        sync.RWMutex // guards what follows
	untrusted string       // what is wrong with the trust file; "": nothing
	dir       string
	fault     string // why the directory is not used; "": it is
	seen      map[string]*found
	ledger    *ledger
	looked    bool // once, at the opening
}

// found is a package that was seen.
type found struct {
	print fingerprint
	entry Entry
	image *Image // nil: it is refused

	remembered bool // it was accepted before
	decided    bool // with a refusal: it is the operator's decision, and no trouble of the disk
}

// opened notes that the first scan is over: what is accepted from now on is news.
func (n *inventory) opened() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.looked = true
}

// noteTrust keeps what is wrong with the trust file.
func (n *inventory) noteTrust(t *trust) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.untrusted = t.complaint(n.ledger.isEmpty())
}

// printOf gives the fingerprint of what was seen under a name.
func (n *inventory) printOf(name string) (mark fingerprint, ok bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	f := n.seen[name]
	if f == nil {
		return mark, false
	}
	return f.print, true
}

// moved notes directory and fault, and forgets all of another directory.
func (n *inventory) moved(dir, fault string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dir == dir && n.fault == fault {
		return false
	}
	if fault != "" {
		n.log.Warn("drivers directory", "err", fault)
	}
	if n.dir != dir {
		n.seen = map[string]*found{}
	}
	n.dir, n.fault = dir, fault
	return true
}

// take accepts or refuses what is fresh, forgets what went, and reports whether anything
// changed.
func (n *inventory) take(names []string, fresh []*candidate, v *verifier) (changed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, f := range n.seen {
		if !slices.Contains(names, name) {
			delete(n.seen, name)
			changed = true
			n.log.Info("package is gone", "driver", f.entry.Driver, "package", name)
		}
	}
	for _, c := range fresh {
		old := n.seen[c.name]
		f := n.judge(c, old, v)
		n.seen[c.name] = f
		if c.image != f.image {
			c.image.drop()
		}
		if old == nil || old.entry != f.entry || old.image != f.image {
			changed = true
			n.tell(f)
		}
	}
	return n.supersede() || changed
}

// revoke refuses what the operator does not trust any more, while nothing can be read.
func (n *inventory) revoke(v *verifier) (changed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.seen {
		if f.image == nil || n.stillGood(f.image, v) {
			continue
		}
		f.image, f.decided, changed = nil, true, true
		f.print = fingerprint{} // so that it is read again
		f.entry.State, f.entry.Refusal = Refused, "package "+f.entry.Name+": it is not trusted any more"
		n.tell(f)
	}
	return changed
}

// supersede refuses what a newer package of the same version replaced under another
// name: one version is one package.
func (n *inventory) supersede() (changed bool) {
	for _, f := range n.seen {
		if f.image == nil || f.image.Unsigned || n.isAccepted(f.image) {
			continue
		}
		f.image, changed = nil, true
		f.entry.State, f.entry.Refusal = Refused, "package "+f.entry.Name+": a newer package of this version was accepted"
		n.tell(f)
	}
	return changed
}

// oneLine is an error's text on one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (n *inventory) tell(f *found) {
	e := &f.entry
	switch {
	case e.State != Accepted:
		n.log.Warn("package is "+e.State.String(), "driver", e.Driver, "package", e.Name, "err", e.Refusal)
	case e.Unsigned:
		n.log.Warn("package is not signed: allow-dev takes it", "driver", e.Driver, "package", e.Name)
	case f.remembered && !n.looked:
		n.log.Debug("package is there", "driver", e.Driver, "package", e.Name)
	default:
		n.log.Info("package is accepted", "driver", e.Driver, "package", e.Name, "serial", e.Serial, "key", e.KeyID)
	}
}
