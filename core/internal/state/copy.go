package state

import (
	"bytes"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fieldloom/fieldloom/core/internal/durable"
)

// copyLoop makes a copy after changes, and at the end. Its first is made at once, where
// there is none.
func (d *DB) copyLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	if _, err := os.Stat(d.path + copySuffix); err == nil {
		timer.Stop()
	}
	waiting := false
	for {
		select {
		case <-d.changed:
			if !waiting {
				timer.Reset(max(copyAfter, time.Until(d.copied.Add(copyEvery))))
			}
			waiting = true
		case <-timer.C:
			waiting = false
			d.copy()
		case <-d.closing:
			d.copy()
			return
		}
	}
}

// copy replaces the copy by what is stored now, if that is whole. A disk that takes
// nothing keeps the copy of before.
func (d *DB) copy() {
	d.copied = time.Now()
	var b bytes.Buffer
	err := d.View(func(tx *bolt.Tx) error {
		_, err := tx.WriteTo(&b)
		return err
	})
	if err == nil {
		settle(b.Bytes())
		var im *image
		if im, err = readImage(b.Bytes()); err == nil {
			_, err = im.check()
		}
	}
	if err == nil {
		err = durable.Replace(d.path+copySuffix, b.Bytes())
	}
	if err != nil {
		d.log.Load().Error("the copy of the state is not made", "file", d.path+copySuffix, "err", err)
	}
}
