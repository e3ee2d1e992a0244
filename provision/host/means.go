package host

import "bytes"

// Means are what there is to log in with, before any machine is asked.
type Means struct {
	Files    []string // key files that can be used
	Locked   []string // of these, the ones with a passphrase that the agent does not hold
	Agent    int      // keys that the agent holds
	Password bool
	Notes    []string // what could not be used, and why
}

// Means looks at the key files and asks the agent. No passphrase is asked for.
func (o Options) Means() Means {
	if o.Keys == nil {
		o.Keys = new(Keys)
	}
	l := o.login()
	agent, done := l.agentKeys()
	defer done()
	m := Means{Agent: len(agent), Password: !o.Password.IsZero()}
	for _, f := range l.files {
		held := false
		for _, s := range agent {
			held = held || bytes.Equal(s.PublicKey().Marshal(), f.public.Marshal())
		}
		m.Files = append(m.Files, f.path)
		f.mu.Lock()
		if f.signer == nil && !held {
			m.Locked = append(m.Locked, f.path)
		}
		f.mu.Unlock()
	}
	m.Notes = l.notes
	return m
}
