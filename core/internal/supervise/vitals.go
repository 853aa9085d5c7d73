package supervise

import (
	"sync/atomic"
	"time"
)

// vitals is the signs of life of one process, and of its engine. Its times are counted since
// began: a step of the wall clock is no silence. It may be used concurrently; began is constant.
type vitals struct {
	began    time.Time
	heard    atomic.Int64  // when the last sign of life came
	busy     atomic.Int64  // since when a frame is with the spool: silence is the core's own fault; 0: none is
	progress atomic.Uint64 // of the last heartbeat
	grown    atomic.Bool   // progress was seen to grow: a driver of another make need not tell it
	stalled  atomic.Int32  // heartbeats without progress
}

func (v *vitals) hear() { v.heard.Store(int64(time.Since(v.began))) }

// beat takes a heartbeat: a sign of life, of the engine too where progress has grown.
func (v *vitals) beat(progress uint64) {
	v.hear()
	switch before := v.progress.Swap(progress); {
	case progress != before:
		v.grown.Store(true)
		v.stalled.Store(0)
	case v.grown.Load():
		v.stalled.Add(1)
	}
}

// take begins the time in which the process's silence is the core's own fault, and taken
// ends it.
func (v *vitals) take() { v.busy.Store(max(1, int64(time.Since(v.began)))) }

func (v *vitals) taken() {
	v.hear()
	v.busy.Store(0)
}

// blocked reports whether the spool takes nothing.
func (v *vitals) blocked() bool {
	since := v.busy.Load()
	return since != 0 && time.Since(v.began)-time.Duration(since) >= time.Second
}

// silentFor reports whether a process which sends heartbeats has sent nothing for so long.
func (v *vitals) silentFor(limit time.Duration) bool {
	return v.busy.Load() == 0 && time.Since(v.began)-time.Duration(v.heard.Load()) > limit
}

// isStalled reports whether the engine has made no progress for too many heartbeats.
func (v *vitals) isStalled() bool { return v.stalled.Load() >= stallBeats }
