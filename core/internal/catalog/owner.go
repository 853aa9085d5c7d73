package catalog

import (
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A block has an owner: the driver whose link had its device in the newest configuration
// that had it at all. Only the owner may send samples of its handles.

// lastSamples bounds the time of the samples that a driver may still send of a device that has
// gone to another driver: it polls on until it has the new configuration.
const lastSamples = 10 * time.Second

// Handles are the handles of which a driver may send samples: those of all devices that it
// has, or had last. They do not change.
type Handles struct{ ranges []handleRange }

// A handleRange is handles from first on, before end, of which samples may be up to until.
type handleRange struct {
	first uint32
	end   uint64
	until int64
}

// Until returns the latest time, in Unix nanoseconds, that samples of the count handles from
// first on may have. It is false where one of them is not the driver's.
func (h *Handles) Until(first uint32, count uint64) (latest int64, ok bool) {
	if h == nil {
		return 0, false
	}
	at, last := uint64(first), uint64(first)+count
	i := sort.Search(len(h.ranges), func(i int) bool { return h.ranges[i].end > at })
	for latest = math.MaxInt64; i < len(h.ranges) && uint64(h.ranges[i].first) <= at; i++ {
		latest, at = min(latest, h.ranges[i].until), h.ranges[i].end
		if last <= at {
			return latest, true
		}
	}
	return 0, false
}

// Handles returns the handles of which a driver may send samples.
func (c *Catalog) Handles(driver string) *Handles { return c.view.Load().owned[driver] }

// former is who had a block before its owner, and until when.
type former struct {
	driver string
	until  int64
}

// own makes a driver the owner of a block.
func (a *assignment) own(i int, driver string) {
	b := &a.view.blocks[i]
	if b.owner == driver {
		return
	}
	if b.owner != "" {
		b.former = &former{b.owner, a.now.Add(lastSamples).UnixNano()}
	}
	b.owner = driver
	a.moved = append(a.moved, i)
}

// indexOwners finds every driver's handles.
func (v *view) indexOwners() {
	v.owned = make(map[string]*Handles)
	for i := range v.blocks {
		b := &v.blocks[i]
		v.owned[b.owner] = v.owned[b.owner].with(b, math.MaxInt64)
		if f := b.former; f != nil && f.driver != b.owner {
			v.owned[f.driver] = v.owned[f.driver].with(b, f.until)
		}
	}
	delete(v.owned, "") // of a catalog that did not keep owners yet
	for _, h := range v.owned {
		h.ranges = slices.Clip(h.ranges)
	}
}

// with appends a block, which comes after those that are there.
func (h *Handles) with(b *block, until int64) *Handles {
	if h == nil {
		h = &Handles{}
	}
	if n := len(h.ranges); n > 0 && h.ranges[n-1].end == uint64(b.first) && h.ranges[n-1].until == until {
		h.ranges[n-1].end = b.end()
	} else {
		h.ranges = append(h.ranges, handleRange{b.first, b.end(), until})
	}
	return h
}

// loadOwners reads the owners of blocks.
func (v *view) loadOwners(root *bolt.Bucket) {
	owners := root.Bucket(ownersBucket)
	names := make(map[string]string)
	for i := range v.blocks {
		b := &v.blocks[i]
		name := owners.Get(binary.BigEndian.AppendUint32(nil, b.first))
		if names[string(name)] == "" {
			names[string(name)] = string(name)
		}
		b.owner = names[string(name)]
	}
}

// storeOwners writes the owners that are new.
func (a *assignment) storeOwners(root *bolt.Bucket) error {
	owners := root.Bucket(ownersBucket)
	owners.FillPercent = 1
	for _, i := range a.moved {
		b := &a.view.blocks[i]
		if err := owners.Put(binary.BigEndian.AppendUint32(nil, b.first), []byte(b.owner)); err != nil {
			return err
		}
	}
	return nil
}
