-- The twelve tables of a TabletTracker of late 2025 and its roles, for a hub that starts empty.
-- Every key is AUTOINCREMENT: an id, once shown, is never given to another row.

CREATE TABLE purchase_orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    po_number TEXT UNIQUE NOT NULL,
    zoho_po_id TEXT UNIQUE,
    tablet_type TEXT,
    zoho_status TEXT,
    ordered_quantity INTEGER DEFAULT 0,
    current_good_count INTEGER DEFAULT 0,
    current_damaged_count INTEGER DEFAULT 0,
    remaining_quantity INTEGER DEFAULT 0,
    closed BOOLEAN DEFAULT FALSE,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    internal_status TEXT DEFAULT 'Active',
    parent_po_number TEXT,
    machine_good_count INTEGER DEFAULT 0,
    machine_damaged_count INTEGER DEFAULT 0
);

CREATE TABLE po_lines (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    po_id INTEGER,
    po_number TEXT,
    inventory_item_id TEXT NOT NULL,
    line_item_name TEXT,
    quantity_ordered INTEGER DEFAULT 0,
    good_count INTEGER DEFAULT 0,
    damaged_count INTEGER DEFAULT 0,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    machine_good_count INTEGER DEFAULT 0,
    machine_damaged_count INTEGER DEFAULT 0,
    FOREIGN KEY (po_id) REFERENCES purchase_orders (id)
);

CREATE TABLE tablet_types (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tablet_type_name TEXT UNIQUE NOT NULL,
    inventory_item_id TEXT UNIQUE,
    category TEXT,
    category_id INTEGER
);

CREATE TABLE product_details (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    product_name TEXT UNIQUE NOT NULL,
    tablet_type_id INTEGER,
    packages_per_display INTEGER DEFAULT 0,
    tablets_per_package INTEGER DEFAULT 0,
    FOREIGN KEY (tablet_type_id) REFERENCES tablet_types (id)
);

CREATE TABLE shipments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    po_id INTEGER,
    tracking_number TEXT,
    carrier TEXT,
    carrier_code TEXT,
    shipped_date DATE,
    estimated_delivery DATE,
    actual_delivery DATE,
    tracking_status TEXT,
    last_checkpoint TEXT,
    delivered_at DATE,
    last_checked_at TIMESTAMP,
    notes TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (po_id) REFERENCES purchase_orders (id)
);

CREATE TABLE receiving (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    po_id INTEGER,
    shipment_id INTEGER,
    received_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    delivery_photo_path TEXT,
    delivery_photo_zoho_id TEXT,
    total_small_boxes INTEGER DEFAULT 0,
    received_by TEXT,
    notes TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (po_id) REFERENCES purchase_orders (id),
    FOREIGN KEY (shipment_id) REFERENCES shipments (id)
);

CREATE TABLE small_boxes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    receiving_id INTEGER,
    box_number INTEGER,
    total_bags INTEGER DEFAULT 0,
    notes TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (receiving_id) REFERENCES receiving (id)
);

CREATE TABLE bags (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    small_box_id INTEGER,
    bag_number INTEGER,
    bag_label_count INTEGER,
    pill_count INTEGER,
    tablet_type_id INTEGER,
    status TEXT DEFAULT 'Available',
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (small_box_id) REFERENCES small_boxes (id)
);

CREATE TABLE warehouse_submissions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    employee_name TEXT NOT NULL,
    product_name TEXT NOT NULL,
    box_number INTEGER,
    bag_number INTEGER,
    bag_label_count INTEGER,
    displays_made INTEGER DEFAULT 0,
    packs_remaining INTEGER DEFAULT 0,
    loose_tablets INTEGER DEFAULT 0,
    damaged_tablets INTEGER DEFAULT 0,
    discrepancy_flag BOOLEAN DEFAULT FALSE,
    assigned_po_id INTEGER,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    submission_date DATE,
    po_assignment_verified BOOLEAN DEFAULT FALSE,
    inventory_item_id TEXT,
    admin_notes TEXT,
    submission_type TEXT DEFAULT 'packaged',
    bag_id INTEGER,
    needs_review BOOLEAN DEFAULT FALSE,
    FOREIGN KEY (assigned_po_id) REFERENCES purchase_orders (id),
    FOREIGN KEY (bag_id) REFERENCES bags (id)
);

CREATE TABLE machine_counts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tablet_type_id INTEGER,
    machine_count INTEGER NOT NULL,
    employee_name TEXT NOT NULL,
    count_date DATE NOT NULL,
    box_number TEXT,
    bag_number TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (tablet_type_id) REFERENCES tablet_types (id)
);

CREATE TABLE employees (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT UNIQUE NOT NULL,
    full_name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    role TEXT DEFAULT 'warehouse_staff',
    preferred_language TEXT DEFAULT 'en',
    is_active BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE roles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    role_name TEXT UNIQUE NOT NULL,
    display_name TEXT NOT NULL,
    permissions TEXT NOT NULL,
    description TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE app_settings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    setting_key TEXT UNIQUE NOT NULL,
    setting_value TEXT NOT NULL,
    description TEXT,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

-- A fixed time, so that this file makes the same row wherever it runs.
INSERT INTO app_settings (setting_key, setting_value, description, updated_at)
VALUES ('schema_version', '1', 'Number of the last migration', '2026-01-01 00:00:00');
