-- What the program's 2026 line added to the same tables, and the tables that these columns point at.
-- Additive throughout: a program of 2025 goes on working on the result.

CREATE TABLE machines (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    machine_name TEXT UNIQUE NOT NULL,
    cards_per_turn INTEGER NOT NULL DEFAULT 1,
    machine_role TEXT NOT NULL DEFAULT 'sealing',
    is_active BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    area_name TEXT,
    machine_category TEXT,
    raw_materials_json TEXT,
    components_json TEXT,
    compressor_json TEXT
);

-- tablet_types.category_id points here, undeclared.
CREATE TABLE tablet_type_categories (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    category_name TEXT UNIQUE NOT NULL,
    category_order INTEGER UNIQUE NOT NULL
);

ALTER TABLE purchase_orders ADD COLUMN vendor_id TEXT;
ALTER TABLE purchase_orders ADD COLUMN vendor_name TEXT;

ALTER TABLE po_lines ADD COLUMN zoho_line_item_id TEXT;

ALTER TABLE tablet_types ADD COLUMN is_variety_pack BOOLEAN DEFAULT 0;
ALTER TABLE tablet_types ADD COLUMN tablets_per_bottle INTEGER;
ALTER TABLE tablet_types ADD COLUMN bottles_per_pack INTEGER;
ALTER TABLE tablet_types ADD COLUMN variety_pack_contents TEXT;
ALTER TABLE tablet_types ADD COLUMN is_bottle_only BOOLEAN DEFAULT 0;

ALTER TABLE product_details ADD COLUMN is_bottle_product BOOLEAN DEFAULT 0;
ALTER TABLE product_details ADD COLUMN is_variety_pack BOOLEAN DEFAULT 0;
ALTER TABLE product_details ADD COLUMN tablets_per_bottle INTEGER;
ALTER TABLE product_details ADD COLUMN bottles_per_display INTEGER;
ALTER TABLE product_details ADD COLUMN displays_per_case INTEGER;
ALTER TABLE product_details ADD COLUMN variety_pack_contents TEXT;
ALTER TABLE product_details ADD COLUMN category TEXT;

ALTER TABLE receiving ADD COLUMN status TEXT DEFAULT 'published';
ALTER TABLE receiving ADD COLUMN receive_name TEXT;
ALTER TABLE receiving ADD COLUMN closed BOOLEAN DEFAULT '0' NOT NULL;

ALTER TABLE small_boxes ADD COLUMN batch_number_default TEXT;

ALTER TABLE bags ADD COLUMN batch_number TEXT;
ALTER TABLE bags ADD COLUMN batch_source TEXT;
ALTER TABLE bags ADD COLUMN receive_name TEXT;
ALTER TABLE bags ADD COLUMN reserved_for_bottles BOOLEAN DEFAULT 0;
ALTER TABLE bags ADD COLUMN zoho_receive_pushed BOOLEAN DEFAULT 0;
ALTER TABLE bags ADD COLUMN zoho_receive_id TEXT;
ALTER TABLE bags ADD COLUMN zoho_receive_overs_id TEXT;
ALTER TABLE bags ADD COLUMN bag_weight_kg REAL;
ALTER TABLE bags ADD COLUMN estimated_tablets_from_weight INTEGER;

ALTER TABLE warehouse_submissions ADD COLUMN cards_reopened INTEGER DEFAULT 0;
ALTER TABLE warehouse_submissions ADD COLUMN bottles_made INTEGER DEFAULT 0;
ALTER TABLE warehouse_submissions ADD COLUMN machine_id INTEGER REFERENCES machines (id);
ALTER TABLE warehouse_submissions ADD COLUMN tablets_pressed_into_cards INTEGER DEFAULT 0;
ALTER TABLE warehouse_submissions ADD COLUMN receipt_number TEXT;
ALTER TABLE warehouse_submissions ADD COLUMN repack_bag_allocations TEXT;
ALTER TABLE warehouse_submissions ADD COLUMN repack_vendor_return_notes TEXT;
ALTER TABLE warehouse_submissions ADD COLUMN repack_allocation_version INTEGER DEFAULT 1;
ALTER TABLE warehouse_submissions ADD COLUMN repack_machine_count INTEGER DEFAULT 0;
ALTER TABLE warehouse_submissions ADD COLUMN bottle_sealing_machine_count INTEGER;
ALTER TABLE warehouse_submissions ADD COLUMN bag_start_time TEXT;
ALTER TABLE warehouse_submissions ADD COLUMN bag_end_time TEXT;
ALTER TABLE warehouse_submissions ADD COLUMN case_count INTEGER DEFAULT 0;
ALTER TABLE warehouse_submissions ADD COLUMN loose_display_count INTEGER DEFAULT 0;

ALTER TABLE machine_counts ADD COLUMN machine_id INTEGER REFERENCES machines (id);

UPDATE app_settings SET setting_value = '2' WHERE setting_key = 'schema_version';
