package depot

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fieldloom/fieldloom/core/pack"
)

// list is Depot.List.
func (n *inventory) list() []Entry {
	n.mu.RLock()
	defer n.mu.RUnlock()
	list := make([]Entry, 0, len(n.seen))
	for _, name := range slices.Sorted(maps.Keys(n.seen)) {
		e := n.seen[name].entry
		if i := n.seen[name].image; i != nil {
			active, err := n.activeLocked(e.Driver)
			e.Active = err == nil && active == i
			e.Chosen = n.ledger.of(e.Driver).Chosen == e.Version
		}
		list = append(list, e)
	}
	return list
}

// active is Depot.Image.
func (n *inventory) active(driver string) (*Image, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.activeLocked(driver)
}

// version is Depot.ImageOf.
func (n *inventory) version(driver, version string) (*Image, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.versionLocked(driver, version)
}

// activeLocked is active; mu is held.
func (n *inventory) activeLocked(driver string) (*Image, error) {
	if n.fault != "" {
		return nil, n.missing(driver, "")
	}
	h := n.ledger.of(driver)
	if h.Chosen != "" {
		i, err := n.versionLocked(driver, h.Chosen)
		if err != nil {
			return nil, fmt.Errorf("%w; you chose it, and `fieldloom driver upgrade %s` or `rollback` chooses another", err, driver)
		}
		return i, nil
	}
	others := n.versions(driver)
	if last := h.last(); last != "" && len(others) > 0 {
		i, err := n.versionLocked(driver, last)
		if err != nil {
			return nil, fmt.Errorf("%w; it was accepted last, and `fieldloom driver rollback %s` goes back to %s", err, driver, strings.Join(others, " or "))
		}
		return i, nil
	}
	for _, name := range slices.Sorted(maps.Keys(n.seen)) {
		if f := n.seen[name]; f.image != nil && f.entry.Driver == driver {
			return f.image, nil
		}
	}
	return nil, n.missing(driver, "")
}

// versions are the signed versions that are there; mu is held.
func (n *inventory) versions(driver string) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(n.seen)) {
		if f := n.seen[name]; f.image != nil && !f.image.Unsigned && f.entry.Driver == driver {
			list = append(list, f.entry.Version)
		}
	}
	return list
}

// versionLocked is version; mu is held.
func (n *inventory) versionLocked(driver, version string) (*Image, error) {
	var unsigned *Image
	for _, name := range slices.Sorted(maps.Keys(n.seen)) {
		f := n.seen[name]
		if f.image == nil || f.entry.Driver != driver || f.entry.Version != version {
			continue
		}
		if !f.image.Unsigned {
			return f.image, nil
		}
		unsigned = f.image
	}
	if unsigned != nil {
		return unsigned, nil
	}
	return nil, n.missing(driver, version)
}

// missing says why there is no image; mu is held.
func (n *inventory) missing(driver, version string) error {
	if n.fault != "" {
		return fmt.Errorf("driver %s: %s%w", driver, n.fault, silent{ErrUnclear})
	}
	prefix := driver + "-" + version
	for _, name := range slices.Sorted(maps.Keys(n.seen)) {
		f := n.seen[name]
		if f.entry.Refusal != "" && (strings.HasPrefix(name, prefix) || name == devPrefix+driver && version == "") {
			err := fmt.Errorf("driver %s: refused: %s", driver, f.entry.Refusal)
			if !f.decided {
				err = fmt.Errorf("%w%w", err, silent{ErrUnclear})
			}
			return err
		}
	}
	if version != "" {
		return fmt.Errorf("driver %s: version %s %w %s", driver, version, ErrNotThere, n.dir)
	}
	return fmt.Errorf("driver %s: there is no package of it in %s%w: install one with `fieldloom driver install`, or set `drivers` in fieldloom.yaml",
		driver, n.dir, silent{ErrNotThere})
}

// whyUnused is Depot.Fault.
func (n *inventory) whyUnused() string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.fault
}

// faults is Depot.Faults.
func (n *inventory) faults() (list []string) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.fault != "" {
		list = append(list, n.fault+"; until that is mended what runs goes on, and nothing new is started")
	}
	if n.untrusted != "" {
		list = append(list, n.untrusted)
	}
	return list
}

// permits reports, as an error, why a package may not be accepted.
func (n *inventory) permits(p *pack.Package) error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.ledger.of(p.Manifest.Name).permits(p)
}

// choose stores the operator's version, and reports whether it was another before.
func (n *inventory) choose(driver, version string) (changed bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if version != "" {
		if _, err := n.versionLocked(driver, version); err != nil {
			return false, err
		}
	}
	if n.ledger.of(driver).Chosen == version {
		return false, nil
	}
	return true, n.ledger.choose(driver, version)
}
