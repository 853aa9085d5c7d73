package spool

import "time"

type counters struct {
	duplicates, lost, retired, syncs uint64
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
