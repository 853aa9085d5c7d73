package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// EndDrivers drains and stops the detached drivers of a gateway that does not run, as that
// would, and stores what they still have; what of an earlier gateway cannot be taken over
// is killed. It returns how many drivers were taken over and stopped. It fails where a
// gateway runs on the data directory. Of o, Config and Log count.
func EndDrivers(o Options) (ended int, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := ownData(o.Config.DataDir); err != nil {
		return 0, fmt.Errorf("stop the drivers without a gateway: %w", err)
	}
	g, err := open(o) // ends what cannot be taken over, and takes over the rest
	if err != nil {
		return 0, err
	}
	records := supervise.Records(g.recordDir(), o.Log)
	g.stopDrivers.Store(true)
	if err := g.close(); err != nil {
		return 0, err
	}
	if left := supervise.Records(g.recordDir(), o.Log); len(left) > 0 {
		return len(records) - len(left), fmt.Errorf("%d drivers are not stopped, the first is driver %s: see the log", len(left), left[0].Kind)
	}
	return len(records), nil
}

// ownData reports why a data directory is not one that a gateway of this user has left:
// what another user does in it, that user's gateway could not use any more.
func ownData(dir string) error {
	info, err := os.Stat(filepath.Join(dir, datadir.StateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no gateway has run on the data directory %s", dir)
	}
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("the data directory %s belongs to user %d: run this as that user", dir, s.Uid)
	}
	return nil
}
