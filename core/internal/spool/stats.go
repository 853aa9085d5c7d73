package spool

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

type counters struct {
	duplicates, lost, retired, syncs uint64
	written                          map[string]uint64 // bytes, by driver
}

// Stats is the state of a spool at one moment.
type Stats struct {
	Records    uint64 // that can be read
	Bytes      uint64 // of all files
	Files      uint64
	Queued     uint64    // bytes that wait to be stored
	Duplicates uint64    // dropped since the spool was opened
	Lost       uint64    // found damaged since the spool was opened
	Retired    uint64    // removed by MaxBytes or MaxAge since the spool was opened
	Syncs      uint64    // groups stored since the spool was opened
	First      time.Time // when the oldest record was stored
	Last       time.Time // when the newest was
	Fault      error     // a *Fault while nothing can be stored
}

// Share is what the spool holds of one driver.
type Share struct {
	Driver  string
	Bytes   uint64 // that its records take
	Records uint64
	First   time.Time // when the oldest of them was stored
	Written uint64    // bytes stored since the spool was opened
}

// Shares tells what the spool holds of each driver, and what it has stored of each, by
// their names.
func (s *Spool) Shares() []Share {
	s.mu.Lock()
	files, written := s.files, maps.Clone(s.count.written)
	s.mu.Unlock()
	shares := make(map[string]Share, len(written))
	for driver, n := range written {
		shares[driver] = Share{Driver: driver, Written: n}
	}
	for _, f := range files {
		for _, u := range s.measure(f).uses {
			sh := shares[u.driver]
			sh.Driver = u.driver
			if u.records > 0 && sh.Records == 0 {
				sh.First = time.Unix(0, u.first)
			}
			sh.Bytes, sh.Records = sh.Bytes+u.bytes, sh.Records+u.records
			shares[u.driver] = sh
		}
	}
	return slices.SortedFunc(maps.Values(shares), func(a, b Share) int { return strings.Compare(a.Driver, b.Driver) })
}

// Lasts tells for how long what is stored at these rates, in bytes a second by driver, is
// kept: of each driver, where MaxAge is the most, and of all as if they were one, by
// MaxBytes alone.
func (s *Spool) Lasts(rates map[string]float64) (each map[string]time.Duration, whole time.Duration) {
	horizon := math.Inf(1)
	if s.o.MaxAge > 0 {
		horizon = s.o.MaxAge.Seconds()
	}
	wanted, sum := make(map[string]uint64, len(rates)), 0.0
	for driver, r := range rates {
		wanted[driver] = uint64(min(r*horizon, 1<<62))
		sum += r
	}
	share := float64(level(wanted, s.highWater()))
	each = make(map[string]time.Duration, len(rates))
	for driver, r := range rates {
		each[driver] = seconds(min(horizon, share/r))
	}
	if sum > 0 {
		whole = seconds(float64(s.highWater()) / sum)
	}
	return each, whole
}

func seconds(n float64) time.Duration {
	const most = float64(1<<63 - 1)
	return time.Duration(min(n*float64(time.Second), most-1024))
}

// Limits gives what the spool keeps at most: bytes, and how long; 0: as long as there is
// room.
func (s *Spool) Limits() (bytes int64, age time.Duration) { return s.highWater(), s.o.MaxAge }

// Stats tells the present state.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{
		Records: uint64(s.last - s.first()), Files: uint64(len(s.files)), Queued: uint64(s.queued),
		Duplicates: s.count.duplicates, Lost: s.count.lost, Retired: s.count.retired, Syncs: s.count.syncs,
		Last: s.newest,
	}
	for _, f := range s.files {
		st.Bytes += uint64(f.size)
		if f.sum != nil {
			st.Records -= min(f.sum.retired, st.Records)
		}
	}
	if len(s.files) > 0 {
		st.First = s.files[0].since
	}
	for _, l := range s.losses {
		if from := max(l.From, s.first()); from < l.To {
			st.Records -= uint64(l.To - from)
		}
	}
	if s.fault != nil {
		fault := *s.fault
		fault.Queued = s.queued
		st.Fault = &fault
	}
	return st
}
