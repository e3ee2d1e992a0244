cluster "a" { kubernetes = "1.36" }
ssh {
  user = "ubuntu
  password = "hunter2
}
node "nuc01" {
  address = = "192.168.1.11"
}
