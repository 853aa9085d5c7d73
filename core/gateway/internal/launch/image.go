package launch

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// image is an image as package supervise sees it: what is executed, as which version, and
// what it may do. Where one of these changes, a process of the one is not a process of
// the other.
type image struct {
	of     *depot.Image
	rights string
}

var _ supervise.Image = image{}

func (i image) Version() string { return i.of.Version }

func (i image) Hash() string { return hex.EncodeToString(i.of.Hash[:]) + "-" + i.of.Version + i.rights }

// RunsFrom reports whether a process whose image has the hash runs what of is.
func RunsFrom(of *depot.Image, hash string) bool { return image{of: of}.IsOf(hash) }

// IsOf reports whether hash is that of a process of this executable, whatever its rights.
func (i image) IsOf(hash string) bool { return strings.HasPrefix(hash, image{of: i.of}.Hash()) }

// byHand is the image of a driver that somebody started: there is nothing to launch.
type byHand struct{}

func (byHand) Version() string { return "by hand" }

func (byHand) Hash() string { return "" }

func (byHand) IsOf(string) bool { return false }

// Image finds what is to be launched: of the active version, where version is empty.
func (l *Launcher) Image(driverName, version string) (supervise.Image, error) {
	if l.attach[driverName] != "" {
		return byHand{}, nil
	}
	find := func() (*depot.Image, error) { return l.depot.ImageOf(driverName, version) }
	if version == "" {
		find = func() (*depot.Image, error) { return l.depot.Image(driverName) }
	}
	of, err := find()
	if errors.Is(err, depot.ErrUnclear) {
		return nil, driver.Errorf(driver.NotConnected, "%w%w", err, supervise.ErrImageUnclear)
	}
	if err != nil {
		return nil, driver.Errorf(driver.NotConnected, "%w", err)
	}
	return image{of, l.rights(driverName, of)}, nil
}

// Pinned finds an image, and makes the version that a driver first ran from its version until the operator
// says otherwise: a package that is installed later, or a newer one that comes back,
// changes nothing that runs.
func (l *Launcher) Pinned(driverName, version string) (supervise.Image, error) {
	found, err := l.Image(driverName, version)
	img, packed := found.(image)
	if err != nil || version != "" || !packed || img.of.Unsigned {
		return found, err
	}
	if err := l.depot.SetActive(driverName, img.of.Version); err != nil {
		return nil, err
	}
	return found, nil
}
