# A program at a station as somebody writes it in Python: its own SQLite, plain SQL, autocommit off only where it must
# be. It keeps the same ledger as the others and ends when its input is closed.
import argparse, json, random, sqlite3, sys, threading, time

parser = argparse.ArgumentParser()
for name in ("db", "book", "who", "seed", "pace"):
    parser.add_argument("--" + name, required=True)
args = parser.parse_args()

stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.buffer.read(), stop.set()), daemon=True).start()
book = open(args.book, "a+b", buffering=0)
book.seek(0)
number = max((json.loads(line)["n"] for line in book.read().splitlines()), default=0)
chance = random.Random(int(args.seed) ^ number)
db = sqlite3.connect(args.db, timeout=30, isolation_level=None)
db.execute("PRAGMA foreign_keys = ON")


def write(line):
    book.write((json.dumps(line) + "\n").encode())


def submit(name, item, amount):
    db.execute(
        "INSERT INTO warehouse_submissions(employee_name, product_name, receipt_number, inventory_item_id,"
        " loose_tablets, assigned_po_id)"
        " SELECT ?, 'soak', ?, ?, ?, po_id FROM po_lines WHERE inventory_item_id = ?",
        (args.who, name, item, amount, item),
    )
    return ["set", "row", name, "%s %d" % (item, amount)]


def add(item, amount):
    # It shows the total on a screen, and writes what stands there.
    (total,) = db.execute("SELECT good_count FROM po_lines WHERE inventory_item_id = ?", (item,)).fetchone()
    db.execute("UPDATE po_lines SET good_count = ? WHERE inventory_item_id = ?", (total + amount, item))
    return ["add", "good", item, amount]


while not stop.is_set():
    number += 1
    mark = "%s#%d" % (args.who, number)
    item = "common-%d" % chance.randint(1, 3)
    amount = chance.randint(1, 500)
    db.execute("BEGIN IMMEDIATE")
    deeds = [submit(mark, item, amount), add(item, amount)]
    if chance.random() < 0.1:
        key = "soak-" + args.who
        db.execute("REPLACE INTO app_settings(setting_key, setting_value) VALUES (?, ?)", (key, str(number)))
        deeds.append(["set", "setting", key, str(number)])
    if chance.random() < 0.1:
        parts = [("%s/%d" % (mark, part), chance.randint(1, 9)) for part in range(1, chance.randint(2, 40))]
        deeds += [submit(name, item, few) for name, few in parts]
        deeds.append(add(item, sum(few for _, few in parts)))
    write({"n": number, "does": deeds})
    if chance.random() < 0.1:
        time.sleep(chance.random() / 8)
    db.execute("COMMIT")
    write({"n": number, "done": True})
    stop.wait(chance.random() * 2 * int(args.pace) / 1000)
