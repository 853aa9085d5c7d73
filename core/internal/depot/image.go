package depot

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Image returns the image of a driver's active version: the one that the operator
// chose, else the one accepted last. When that is gone the answer is an error and not
// an older version: going back is the operator's own step. An unsigned image is the
// answer only where no signed package of the driver is there. While the directory is not used
// there is no active version: nothing new is started.
func (d *Depot) Image(driver string) (*Image, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.image(driver)
}

func (d *Depot) image(driver string) (*Image, error) {
	if d.fault != "" {
		return nil, d.missing(driver, "")
	}
	h := d.ledger.of(driver)
	if h.Chosen != "" {
		i, err := d.imageOfVersion(driver, h.Chosen)
		if err != nil {
			return nil, fmt.Errorf("%w; you chose it, and `fieldloom driver upgrade %s` or `rollback` chooses another", err, driver)
		}
		return i, nil
	}
	others := d.versions(driver)
	if last := h.last(); last != "" && len(others) > 0 {
		i, err := d.imageOfVersion(driver, last)
		if err != nil {
			return nil, fmt.Errorf("%w; it was accepted last, and `fieldloom driver rollback %s` goes back to %s", err, driver, strings.Join(others, " or "))
		}
		return i, nil
	}
	for _, name := range slices.Sorted(maps.Keys(d.seen)) {
		if f := d.seen[name]; f.image != nil && f.entry.Driver == driver {
			return f.image, nil
		}
	}
	return nil, d.missing(driver, "")
}

// versions are the signed versions that are there.
func (d *Depot) versions(driver string) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(d.seen)) {
		if f := d.seen[name]; f.image != nil && !f.image.Unsigned && f.entry.Driver == driver {
			list = append(list, f.entry.Version)
		}
	}
	return list
}

// ImageOf returns the image of a version that is accepted and there, or was before the
// directory could not be used any more.
func (d *Depot) ImageOf(driver, version string) (*Image, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.imageOfVersion(driver, version)
}

func (d *Depot) imageOfVersion(driver, version string) (*Image, error) {
	var unsigned *Image
	for _, name := range slices.Sorted(maps.Keys(d.seen)) {
		f := d.seen[name]
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
	return nil, d.missing(driver, version)
}

// missing says why there is no image.
func (d *Depot) missing(driver, version string) error {
	if d.fault != "" {
		return fmt.Errorf("driver %s: %s%w", driver, d.fault, silent{ErrUnclear})
	}
	prefix := driver + "-" + version
	for _, name := range slices.Sorted(maps.Keys(d.seen)) {
		f := d.seen[name]
		if f.entry.Refusal != "" && (strings.HasPrefix(name, prefix) || name == devPrefix+driver && version == "") {
			err := fmt.Errorf("driver %s: refused: %s", driver, f.entry.Refusal)
			if !f.decided {
				err = fmt.Errorf("%w%w", err, silent{ErrUnclear})
			}
			return err
		}
	}
	if version != "" {
		return fmt.Errorf("driver %s: version %s %w %s", driver, version, ErrNotThere, d.dir)
	}
	return fmt.Errorf("driver %s: there is no package of it in %s%w: install one with `fieldloom driver install`, or set `drivers` in fieldloom.yaml",
		driver, d.dir, silent{ErrNotThere})
}

// Fault is why the directory is not used; "": it is.
func (d *Depot) Fault() string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.fault
}

// Faults is what is wrong with the directory and with the trust file.
func (d *Depot) Faults() (list []string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.fault != "" {
		list = append(list, d.fault+"; until that is mended what runs goes on, and nothing new is started")
	}
	if d.untrusted != "" {
		list = append(list, d.untrusted)
	}
	return list
}

// SetActive makes a version the driver's, durably; "" takes the choice back. The
// version must be there and accepted, now or before.
func (d *Depot) SetActive(driver, version string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if version != "" {
		if _, err := d.imageOfVersion(driver, version); err != nil {
			return err
		}
	}
	if d.ledger.of(driver).Chosen == version {
		return nil
	}
	if err := d.ledger.choose(driver, version); err != nil {
		return err
	}
	d.signal()
	return nil
}
