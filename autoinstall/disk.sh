# Names the disk of the system in the installer's configuration: of the disks
# that are built in the only one, the smallest, the largest, or the one whose
# serial number has a text in it. Until then the configuration names a disk that
# does not exist: where this fails, nothing is written to any disk.
set -eu
meant=$by${serial:+ $serial}
config=/autoinstall.yaml
refuse() {
  echo "nucspark: $1. Nothing was written to any disk. The disks are:" >&2
  lsblk -d -o PATH,SIZE,TRAN,MODEL,SERIAL >&2 || :
  exit 1
}
disks=$(lsblk -d -b -n -r -o PATH,TYPE,RO,SIZE,TRAN | awk '
  $2 == "disk" && $3 == 0 && $4 >= 10e9 && $5 != "usb" && $1 !~ "^/dev/(zram|ram|nbd|fd)" { print $4, $1 }' | sort -n)
case $by in
only)
  found=$(echo "$disks" | awk '{ print $2 }') ;;
smallest)
  found=$(echo "$disks" | awk 'NR == 1 { size = $1 } $1 == size { print $2 }') ;;
largest)
  found=$(echo "$disks" | sort -rn | awk 'NR == 1 { size = $1 } $1 == size { print $2 }') ;;
serial)
  found=
  for disk in $(echo "$disks" | awk '{ print $2 }'); do
    properties=$(udevadm info --query=property --name="$disk")
    case $(echo "$properties" | sed -n 's/^ID_SERIAL=//p') in
    *"$serial"*) found="$found $disk" ;;
    esac
  done ;;
esac
set -- $found
[ $# -gt 0 ] || refuse "no disk of 10 GB or more is built in that is meant by $meant"
[ $# -eq 1 ] || refuse "$# disks are meant by $meant: $*"
holds=$(wipefs --no-act "$1")
if [ -n "$holds" ] && [ "$erase" != yes ]; then
  echo "$holds" >&2
  refuse "$1 is not empty"
fi
echo "nucspark: the system goes to $1"
sed -i "s|/dev/nucspark-system-disk|$1|g" "$config"
