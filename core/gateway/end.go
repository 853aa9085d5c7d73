package gateway

import (
	"errors"
	"log/slog"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/spool"
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
