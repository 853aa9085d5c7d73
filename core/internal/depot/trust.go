package depot

import (
	"errors"
	"io/fs"

	"github.com/fieldloom/fieldloom/core/pack"
)

// trust is the trust file as it was last read well.
type trust struct {
	path  string
	print fingerprint
	keys  *pack.Trust
	fault string
}

// readTrust reads the trust file when it changed, and tells whether the keys may have
// changed. A file that cannot be read leaves those of before in force, as a wrong
// configuration does: a slip of the pen must not stop a plant.
func (d *Depot) readTrust() bool {
	path := ""
	if d.o.Trust != nil {
		path = d.o.Trust()
	}
	next := trust{path: path}
	if path != "" {
		next.print = fingerprintOf(path)
	}
	if next.path == d.trust.path && next.print == d.trust.print {
		return false
	}
	var err error
	if path != "" {
		next.keys, err = pack.ReadTrust(path)
	}
	if err == nil {
		d.trust = next
		return true
	}
	next.fault = err.Error()
	first := d.trust.path != path
	if !first {
		next.keys = d.trust.keys
	}
	d.trust = next
	level := d.o.Log.Warn
	if errors.Is(err, fs.ErrNotExist) && first {
		level = d.o.Log.Info
	}
	level("trust file: what was in force stays", "err", err)
	return first
}
