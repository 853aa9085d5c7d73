package spool

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

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
	files, written := s.index.writtenBy()
	shares := make(map[string]Share, len(written))
	for driver, n := range written {
		shares[driver] = Share{Driver: driver, Written: n}
	}
	for _, f := range files {
		sum, _ := s.index.measure(f)
		for _, u := range sum.uses {
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
	return s.o.lasts(rates)
}

// Limits gives what the spool keeps at most: bytes, and how long; 0: as long as there is
// room.
func (s *Spool) Limits() (bytes int64, age time.Duration) { return s.o.highWater(), s.o.MaxAge }

// Stats tells the present state.
func (s *Spool) Stats() Stats {
	st, first := s.index.stats()
	losses, lost := s.damage.list()
	for _, l := range losses {
		if from := max(l.From, first); from < l.To {
			st.Records -= min(uint64(l.To-from), st.Records)
		}
	}
	queued, duplicates := s.intake.counts()
	st.Queued, st.Duplicates, st.Lost = uint64(queued), duplicates, lost
	st.Fault = s.committer.trouble.present(queued)
	return st
}

// stats gives what a spool's stats say of what is stored, and the first position.
func (x *index) stats() (st Stats, first Position) {
	x.mu.Lock()
	defer x.mu.Unlock()
	first = x.files.first(x.end)
	st = Stats{
		Records: uint64(x.end - first), Files: uint64(len(x.files)),
		Retired: x.retired, Syncs: x.syncs, Last: x.newest,
	}
	for _, f := range x.files {
		st.Bytes += uint64(f.size)
		if f.sum != nil {
			st.Records -= min(f.sum.retired, st.Records)
		}
	}
	if len(x.files) > 0 {
		st.First = x.files[0].since
	}
	return st, first
}

// writtenBy gives the files, and the bytes stored since the opening by driver.
func (x *index) writtenBy() (files []*file, written map[string]uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.files, maps.Clone(x.written)
}

// highWater is how much may be stored. What it leaves free is what a file takes while it is
// rewritten.
func (o *Options) highWater() int64 { return o.MaxBytes - o.FileBytes }

// lowWater is how much may be stored before room is made in the background.
func (o *Options) lowWater() int64 { return o.highWater() - o.FileBytes/2 }

// lasts is Spool.Lasts.
func (o *Options) lasts(rates map[string]float64) (each map[string]time.Duration, whole time.Duration) {
	horizon := math.Inf(1)
	if o.MaxAge > 0 {
		horizon = o.MaxAge.Seconds()
	}
	wanted, sum := make(map[string]uint64, len(rates)), 0.0
	for driver, r := range rates {
		wanted[driver] = uint64(min(r*horizon, 1<<62))
		sum += r
	}
	share := float64(level(wanted, o.highWater()))
	each = make(map[string]time.Duration, len(rates))
	for driver, r := range rates {
		each[driver] = seconds(min(horizon, share/r))
	}
	if sum > 0 {
		whole = seconds(float64(o.highWater()) / sum)
	}
	return each, whole
}

func seconds(n float64) time.Duration {
	const most = float64(1<<63 - 1)
	return time.Duration(min(n*float64(time.Second), most-1024))
}
