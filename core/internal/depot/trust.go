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
	none  bool // there never was a file
}

// complaint is what an operator should know of the file; "": nothing. Where no package was
// ever taken there may be none.
func (t *trust) complaint(never bool) string {
	switch {
	case t.fault == "" || t.none && never:
		return ""
	case t.keys == nil:
		return t.fault + ": no key is trusted"
	}
	return t.fault + ": the keys from before are in force until the gateway is restarted"
}

// readTrust reads the trust file when it changed, and reports whether the keys may have
// changed. A file that cannot be read leaves those of before in force, as a wrong configuration
// does: a slip of the pen must not stop a plant.
func (v *verifier) readTrust() bool {
	path := ""
	if v.o.Trust != nil {
		path = v.o.Trust()
	}
	next := trust{path: path}
	if path != "" {
		next.print = fingerprintOf(path)
	}
	if next.path == v.trust.path && next.print == v.trust.print {
		return false
	}
	var err error
	if path != "" {
		next.keys, err = pack.ReadTrust(path)
	}
	if err == nil {
		v.trust = next
		return true
	}
	next.fault = err.Error()
	first := v.trust.path != path
	if !first {
		next.keys = v.trust.keys
	}
	next.none = errors.Is(err, fs.ErrNotExist) && next.keys == nil
	v.trust = next
	switch {
	case next.none:
		v.o.Log.Info("there is no trust file", "err", err)
	case next.keys == nil:
		v.o.Log.Warn("trust file: no key is trusted", "err", err)
	default:
		v.o.Log.Warn("trust file: the keys from before stay in force", "err", err)
	}
	return first
}
