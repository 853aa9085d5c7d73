package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// fullLooks is for how many looks in a row, a second apart, the spool must be unable to
// store before a gateway that stops no longer waits for it.
const fullLooks = 10

// endDrivers calls end, which takes in what the drivers have. On a disk that takes nothing
// that would have no end: the spool is closed then, and what it did not store stays
// unacknowledged, so that detached drivers give it to the next gateway.
func endDrivers(end func(), s *spool.Spool, log *slog.Logger) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		end()
	}()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for full := 0; full < fullLooks; {
		select {
		case <-ended:
			return
		case <-look.C:
			full++
			if s.Stats().Fault == nil {
				full = 0
			}
		}
	}
	err := errors.Join(s.Stats().Fault, s.Close())
	log.Error("the gateway stops without storing everything", "err", err)
	<-ended
}

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
		return len(records) - len(left), fmt.Errorf("%d drivers are not stopped, the first is driver %s: see the log", len(left), left[0].Driver)
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
