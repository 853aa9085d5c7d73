package depot

import (
	"errors"
	"fmt"

	"github.com/fieldloom/fieldloom/core/pack"
)

// judge decides about a package; old is what was seen under its name before.
func (n *inventory) judge(c *candidate, old *found, v *verifier) *found {
	f := &found{print: c.print, entry: Entry{Name: c.name, State: Refused}}
	err := c.err
	if err == nil {
		f.entry = entryOf(c)
		f.image = c.image
		if old != nil && old.image != nil && same(old.image, c.image) {
			f.image = old.image // the same object for every start
		}
		if !c.image.Unsigned {
			f.remembered = n.isAccepted(c.image)
			f.entry.Accepted, err = n.ledger.accept(c.image.pack)
			if err != nil {
				err = fmt.Errorf("package %s: %w", c.name, err)
			}
		}
	}
	if err == nil {
		return f
	}
	f.entry.State, f.entry.Refusal, f.image = Refused, oneLine(err), nil
	f.decided = errors.Is(err, errPolicy) || errors.Is(err, pack.ErrNotTrusted) && v.trust.fault == ""
	if old != nil && old.image != nil && n.stillGood(old.image, v) {
		kept := old.entry
		kept.State, kept.Refusal = Damaged, f.entry.Refusal
		f.entry, f.image = kept, old.image
	}
	return f
}

func entryOf(c *candidate) Entry {
	e := Entry{
		Name: c.name, Driver: c.image.Driver, Version: c.image.Version, Serial: c.image.Serial,
		KeyID: c.image.KeyID, Unsigned: c.image.Unsigned, State: Accepted,
	}
	if c.image.pack != nil {
		e.Signer = c.image.pack.Signer.Comment
	}
	return e
}

func same(a, b *Image) bool {
	if a.pack == nil || b.pack == nil {
		return a.pack == b.pack && a.Hash == b.Hash
	}
	return a.pack.Hash == b.pack.Hash
}

// stillGood reports whether an image may be used further although its package on the disk does
// not hold any more: damage there changes nothing of what was verified. Only what the operator
// took back ends it.
func (n *inventory) stillGood(i *Image, v *verifier) bool {
	return v.trusts(i) && (i.Unsigned || n.isAccepted(i))
}

// isAccepted reports whether a signed image is of the package that is accepted as its
// version.
func (n *inventory) isAccepted(i *Image) bool {
	return n.ledger.of(i.Driver).Accepted[i.Version].Hash == hashOf(i.pack)
}
