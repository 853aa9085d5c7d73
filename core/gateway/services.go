package gateway

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/plugin"
)

const (
	maxStoreKey   = 256
	maxStoreValue = 64 << 10
)

// services answers the questions of one driver.
type services struct {
	g    *gateway
	kind string
}

var _ plugin.Services = (*services)(nil)

func (g *gateway) services(kind string) plugin.Services { return &services{g, kind} }

// StoreGet returns a stored value, or nil.
func (s *services) StoreGet(_ context.Context, link, key string) (value []byte, err error) {
	err = s.g.data.db.View(func(tx *bbolt.Tx) error {
		if b := s.bucket(tx, link); b != nil {
			value = bytes.Clone(b.Get([]byte(key)))
		}
		return nil
	})
	return value, err
}

// StorePut stores or, with a nil value, deletes; it returns when that is durable.
func (s *services) StorePut(_ context.Context, link, key string, value []byte) error {
	if key == "" || len(key) > maxStoreKey || len(value) > maxStoreValue {
		return driver.Errorf(driver.BadValue, "store of link %s: a key has 1 to %d bytes and a value at most %d", link, maxStoreKey, maxStoreValue)
	}
	err := s.g.data.db.Update(func(tx *bbolt.Tx) error {
		b, err := s.makeBucket(tx, link)
		if err != nil {
			return err
		}
		if value == nil {
			return b.Delete([]byte(key))
		}
		return b.Put([]byte(key), value)
	})
	if err != nil {
		return fmt.Errorf("store of link %s: %w", link, err)
	}
	return nil
}

// Gateway tells the gateway's name and time.
func (s *services) Gateway(context.Context) (name string, now time.Time, err error) {
	return s.g.inForce.Load().Gateway, time.Now(), nil
}

// path is the buckets down to the values of a link. A link that changes its driver
// begins with an empty store.
func (s *services) path(link string) [][]byte {
	return [][]byte{storeBucket, []byte(s.kind), []byte(link)}
}

func (s *services) bucket(tx *bbolt.Tx, link string) *bbolt.Bucket {
	var b *bbolt.Bucket
	for i, name := range s.path(link) {
		switch {
		case i == 0:
			b = tx.Bucket(name)
		case b != nil:
			b = b.Bucket(name)
		}
	}
	return b
}

func (s *services) makeBucket(tx *bbolt.Tx, link string) (b *bbolt.Bucket, err error) {
	for i, name := range s.path(link) {
		if i == 0 {
			b, err = tx.CreateBucketIfNotExists(name)
		} else {
			b, err = b.CreateBucketIfNotExists(name)
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}
