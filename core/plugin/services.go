package plugin

import (
	"context"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// store is driver.Env.Store of one link.
type store struct {
	questions *questions
	link      string
}

var _ driver.Store = (*store)(nil)

// Get asks the core for the value of key.
func (s *store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := wire.CheckKey(key); err != nil {
		return nil, err
	}
	answer, err := s.questions.ask(ctx, &driverv1.ServicesResponse{Question: &driverv1.ServicesResponse_StoreGet{
		StoreGet: &driverv1.StoreGet{Link: s.link, Key: key},
	}})
	if err != nil {
		return nil, err
	}
	got := answer.GetStoreGot()
	if got == nil {
		return nil, driver.Errorf(driver.Protocol, "get %q: the core answered another question", key)
	}
	return got.Value, nil
}

// Put has the core keep value; it returns when it is durable.
func (s *store) Put(ctx context.Context, key string, value []byte) error {
	if err := wire.CheckKey(key); err != nil {
		return err
	}
	if len(value) > wire.MaxValue {
		return driver.Errorf(driver.BadValue, "put %q: %d bytes, at most %d are kept", key, len(value), wire.MaxValue)
	}
	answer, err := s.questions.ask(ctx, &driverv1.ServicesResponse{Question: &driverv1.ServicesResponse_StorePut{
		StorePut: &driverv1.StorePut{Link: s.link, Key: key, Value: value},
	}})
	if err == nil && answer.GetStoreDone() == nil {
		err = driver.Errorf(driver.Protocol, "put %q: the core answered another question", key)
	}
	return err
}

// secrets is driver.Env.Secrets of one link. It keeps nothing: what is kept can be
// read out of the process's memory.
type secrets struct {
	questions *questions
	link      string
}

var _ driver.Secrets = (*secrets)(nil)

// Secret asks the core for a secret.
func (s *secrets) Secret(ctx context.Context, name string) ([]byte, error) {
	if err := wire.CheckSecret(name); err != nil {
		return nil, err
	}
	answer, err := s.questions.ask(ctx, &driverv1.ServicesResponse{Question: &driverv1.ServicesResponse_SecretGet{
		SecretGet: &driverv1.SecretGet{Link: s.link, Name: name},
	}})
	if err != nil {
		return nil, err
	}
	secret := answer.GetSecret()
	if secret == nil {
		return nil, driver.Errorf(driver.Protocol, "secret %q: the core answered another question", name)
	}
	return secret.Value, nil
}

// gateway is driver.Env.Gateway.
type gateway struct{ questions *questions }

var _ driver.Gateway = (*gateway)(nil)

// Gateway asks the core for its name and its time.
func (g *gateway) Gateway(ctx context.Context) (name string, now time.Time, err error) {
	answer, err := g.questions.ask(ctx, &driverv1.ServicesResponse{Question: &driverv1.ServicesResponse_GatewayGet{
		GatewayGet: &driverv1.GatewayGet{},
	}})
	if err != nil {
		return "", time.Time{}, err
	}
	got := answer.GetGateway()
	if got == nil {
		return "", time.Time{}, driver.Errorf(driver.Protocol, "ask for the gateway: the core answered another question")
	}
	return got.GetName(), wire.DecodeTime(got.GetTimeUnixNs()), nil
}
