package launch

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/gateway/internal/secrets"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/state"
)

const (
	maxStoreKey   = 256
	maxStoreValue = 64 << 10
	// What one link may keep: state.db never gets smaller, and holds much else.
	maxStoreKeys  = 1000
	maxStoreBytes = 1 << 20
)

var storeBucket = []byte("store")

// Services answers the questions of one driver.
type Services struct {
	DB      *state.DB // where its links keep what they store
	InForce *inforce.Current
	Driver  string
}

var _ host.Services = (*Services)(nil)

// StoreGet returns a stored value, or nil.
func (s *Services) StoreGet(_ context.Context, link, key string) (value []byte, err error) {
	err = s.DB.View(func(tx *bbolt.Tx) error {
		if b := s.bucket(tx, link); b != nil {
			value = bytes.Clone(b.Get([]byte(key)))
		}
		return nil
	})
	return value, err
}

// StorePut stores or, with a nil value, deletes; it returns when that is durable.
func (s *Services) StorePut(_ context.Context, link, key string, value []byte) error {
	if key == "" || len(key) > maxStoreKey || len(value) > maxStoreValue {
		return driver.Errorf(driver.BadValue, "store of link %s: a key has 1 to %d bytes and a value at most %d", link, maxStoreKey, maxStoreValue)
	}
	err := s.DB.UpdateIn(s.path(link), func(tx *bbolt.Tx) error {
		b := s.bucket(tx, link)
		switch {
		case b == nil && value == nil:
			return nil
		case b == nil && !s.serves(link):
			return driver.Errorf(driver.Denied, "the driver has no such link")
		case b == nil:
			var err error
			if b, err = s.makeBucket(tx, link); err != nil {
				return err
			}
		case value == nil:
			return b.Delete([]byte(key))
		}
		if err := roomFor(b, key, value); err != nil {
			return err
		}
		return b.Put([]byte(key), value)
	})
	if err != nil {
		return fmt.Errorf("store of link %s: %w", link, err)
	}
	return nil
}

// serves reports whether the driver has a link of this name.
func (s *Services) serves(link string) bool {
	return slices.ContainsFunc(s.InForce.Get().Links, func(l *config.Link) bool { return l.Name == link && l.Driver == s.Driver })
}

// roomFor reports whether a value fits in beside what its link keeps already.
func roomFor(b *bbolt.Bucket, key string, value []byte) error {
	keys, size := 1, len(key)+len(value)
	at := b.Cursor()
	for k, v := at.First(); k != nil; k, v = at.Next() {
		if string(k) != key {
			keys, size = keys+1, size+len(k)+len(v)
		}
	}
	if keys > maxStoreKeys || size > maxStoreBytes {
		return driver.Errorf(driver.BadValue, "a link keeps at most %d values of %d bytes in all", maxStoreKeys, maxStoreBytes)
	}
	return nil
}

// Gateway tells the gateway's name and time.
func (s *Services) Gateway(context.Context) (name string, now time.Time, err error) {
	return s.InForce.Get().Gateway, time.Now(), nil
}

// path is the buckets down to the values of a link. A link that changes its driver
// begins with an empty store.
func (s *Services) path(link string) [][]byte {
	return [][]byte{storeBucket, []byte(s.Driver), []byte(link)}
}

func (s *Services) bucket(tx *bbolt.Tx, link string) *bbolt.Bucket {
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

func (s *Services) makeBucket(tx *bbolt.Tx, link string) (b *bbolt.Bucket, err error) {
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

// Secret answers the secret of a name that the link's settings mention. It is read each
// time: a new one is in force with the next opening of a link.
func (s *Services) Secret(_ context.Context, link, name string) ([]byte, error) {
	a := s.InForce.Get()
	if !mentions(a, s.Driver, link, name) {
		return nil, driver.Errorf(driver.Denied, "secret %s: the settings of link %s do not name it as secret:%s", name, link, name)
	}
	return secrets.Read(a.SecretsDir, name)
}

func mentions(a *inforce.Config, driverName, link, name string) bool {
	for _, l := range a.Links {
		if l.Name == link && l.Driver == driverName {
			return slices.Contains(l.SecretNames(), name)
		}
	}
	return false
}
