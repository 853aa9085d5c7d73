// Package outlook says what will be short before it is: how long the spool lasts at the
// present rate, a clock that was set, certificates near their end.
package outlook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/internal/spool"
)

const (
	lookAhead       = 10 * time.Second // between two looks at the spool and the clock
	outlookWindow   = 10 * time.Minute // over which the present rate is taken
	outlookLeast    = 5 * time.Minute  // below it a rate says nothing of days
	clockWidth      = 5 * time.Second  // a step of the clock that is worth telling
	clockToldFor    = 24 * time.Hour
	certificateLook = time.Hour // between two looks at the certificates
)

// An Outlook looks ahead now and then, and keeps what it has seen. Its methods may be called
// concurrently.
type Outlook struct {
	spool        *spool.Spool
	certificates func(now time.Time) []string // says which are near their end
	log          *slog.Logger

	mu     sync.Mutex // guards what follows
	looks  []look     // the oldest is outlookWindow old
	short  map[string]bool
	clock  []clockStep
	certs  []string
	expiry time.Time // when certs were looked at
}

// look is what had been stored at one time.
type look struct {
	at      time.Time
	written map[string]uint64
}

type clockStep struct {
	at   time.Time // by the clock as it is now
	by   time.Duration
	told time.Time // with its monotonic reading
}

func lookAt(s *spool.Spool) look {
	l := look{time.Now(), make(map[string]uint64)}
	for _, sh := range s.Shares() {
		l.written[sh.Driver] = sh.Written
	}
	return l
}

// New returns an outlook that has seen nothing yet.
func New(s *spool.Spool, certificates func(now time.Time) []string, log *slog.Logger) *Outlook {
	return &Outlook{spool: s, certificates: certificates, log: log}
}

// Run looks ahead until ctx ends.
func (o *Outlook) Run(ctx context.Context) {
	tick := time.NewTicker(lookAhead)
	defer tick.Stop()
	if last := o.spool.Stats().Last; last.After(time.Now().Add(clockWidth)) {
		o.log.Warn("the clock is behind what is stored", "newest", last, "by", time.Until(last).Round(time.Second))
	}
	o.note(lookAt(o.spool))
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		o.note(lookAt(o.spool))
		o.tellShort()
		if certs, due := o.certificatesDue(); due {
			o.tellCertificates(certs, o.certificates(time.Now()))
		}
	}
}

// note takes a look in, and compares the clock with the one before.
func (o *Outlook) note(l look) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.looks); n > 0 {
		before := o.looks[n-1].at
		o.step(l.at, l.at.Sub(before), l.at.Round(0).Sub(before.Round(0)))
	}
	o.clock = slices.DeleteFunc(o.clock, func(c clockStep) bool { return l.at.Sub(c.told) > clockToldFor })
	o.clock = o.clock[max(0, len(o.clock)-3):]
	o.looks = append(o.looks, l)
	for len(o.looks) > 2 && l.at.Sub(o.looks[1].at) >= outlookWindow {
		o.looks = o.looks[1:]
	}
}

// step compares how long it was by a clock that nobody can set with how long by the wall's;
// mu is held.
func (o *Outlook) step(now time.Time, run, wall time.Duration) {
	by := wall - run
	if by.Abs() <= clockWidth {
		return
	}
	o.clock = append(o.clock, clockStep{at: now.Round(0), by: by, told: now})
	o.log.Warn("the clock was set, or the machine slept", "by", by.Round(time.Second), "now", now.Round(0))
}

// rates gives the present rates in bytes a second, and over what time they were taken.
func (o *Outlook) rates(now look) (rates map[string]float64, over time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	rates = make(map[string]float64)
	if len(o.looks) == 0 {
		return rates, 0
	}
	first := o.looks[0]
	over = now.at.Sub(first.at)
	for driver, n := range now.written {
		if grown := n - first.written[driver]; grown > 0 && over > 0 {
			rates[driver] = float64(grown) / over.Seconds()
		}
	}
	return rates, over
}

// forecast is how long the spool keeps what each driver stores, and all together.
func (o *Outlook) forecast() (rates map[string]float64, each map[string]time.Duration, whole, over time.Duration) {
	rates, over = o.rates(lookAt(o.spool))
	each, whole = o.spool.Lasts(rates)
	return rates, each, whole, over
}

// Fill tells the spool's status what is ahead.
func (o *Outlook) Fill(st *client.SpoolStatus) {
	most, keep := o.spool.Limits()
	st.Max, st.Keep = uint64(most), keep.Seconds()
	rates, each, whole, over := o.forecast()
	st.Lasts, st.RateWindow = whole.Seconds(), over.Seconds()
	for _, sh := range o.spool.Shares() {
		st.Drivers = append(st.Drivers, client.SpoolShare{Driver: sh.Driver, Records: sh.Records, Bytes: sh.Bytes, First: sh.First,
			Rate: rates[sh.Driver], Lasts: each[sh.Driver].Seconds()})
	}
}

// Warnings are what an operator should do something about before it is too late.
func (o *Outlook) Warnings() []string {
	short := o.shortOf()
	var list []string
	for _, driver := range slices.Sorted(maps.Keys(short)) {
		list = append(list, short[driver])
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.clock {
		list = append(list, fmt.Sprintf("the clock was set by %s at %s, or the machine slept: samples and records from before have times of the old clock; "+
			"nothing is removed because of it", days(c.by), c.at.Local().Format(time.DateTime)))
	}
	return append(list, o.certs...)
}

// shortOf says of which drivers the spool cannot keep what it is to keep.
func (o *Outlook) shortOf() map[string]string {
	list := make(map[string]string)
	_, keep := o.spool.Limits()
	rates, each, _, over := o.forecast()
	if keep == 0 || over < outlookLeast {
		return list
	}
	for driver, lasts := range each {
		if lasts >= keep {
			continue
		}
		list[driver] = fmt.Sprintf("the spool keeps %s of %s at its present rate of %s a second, and `spool.keep` is %s: "+
			"set `spool.max` to %s at least, or `keep` lower", days(lasts), whose(driver), bytesText(rates[driver]), days(keep), roomToKeep(rates, keep))
	}
	return list
}

func whose(driver string) string {
	if driver == "" {
		return "the gateway's own records"
	}
	return "driver " + driver
}

// roomToKeep is what spool.max has to be so that all is kept, with what a rewriting needs.
func roomToKeep(rates map[string]float64, keep time.Duration) string {
	sum := 0.0
	for _, r := range rates {
		sum += r * keep.Seconds()
	}
	return bytesText(sum * 16 / 15)
}

func bytesText(n float64) string {
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if n < 1024 {
			return fmt.Sprintf("%.1f%s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%.1fGiB", n)
}

// days writes a long time for a person.
func days(d time.Duration) string {
	if d.Abs() >= 48*time.Hour {
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	}
	return d.Round(time.Second).String()
}

// tellShort logs what has become short, once.
func (o *Outlook) tellShort() {
	short := o.shortOf()
	o.mu.Lock()
	known := o.short
	o.short = make(map[string]bool)
	for driver := range short {
		o.short[driver] = true
	}
	o.mu.Unlock()
	for _, driver := range slices.Sorted(maps.Keys(short)) {
		if !known[driver] {
			o.log.Warn("the spool is too small", "err", errors.New(short[driver]))
		}
	}
}

func (o *Outlook) certificatesDue() (known []string, due bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.expiry.IsZero() && time.Since(o.expiry) < certificateLook {
		return nil, false
	}
	o.expiry = time.Now()
	return o.certs, true
}

// tellCertificates keeps what was found, and logs what is new.
func (o *Outlook) tellCertificates(known, found []string) {
	o.mu.Lock()
	o.certs = found
	o.mu.Unlock()
	for _, text := range found {
		if !slices.Contains(known, text) {
			o.log.Warn("a certificate is near its end", "err", errors.New(text))
		}
	}
}
